"""What we do: the live executor, its decision core and the shell around it."""
