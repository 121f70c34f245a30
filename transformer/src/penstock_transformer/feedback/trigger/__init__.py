"""The trigger: a log is looked at window by window, and a retraining asked for when quality or drift passes a bound."""
