"""Push written mixes and recipes to the Hub."""
