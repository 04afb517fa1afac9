"""Pure work on blocks of text: arrays in, arrays out. No I/O, no clock, no global state."""
