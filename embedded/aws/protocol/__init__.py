"""How AWS requests and answers look on the wire: routing, checking, signatures, encoding."""
