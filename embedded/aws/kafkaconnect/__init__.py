"""MSK Connect: the desk's own stream, as the managed connector whose place it takes on one machine."""
