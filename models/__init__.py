"""What we believe: alpha, cost, risk and portfolio models, and the validation that says whether to."""
