"""What we show: data validation, tear sheets, day reports, the compliance pack and the notifier."""
