"""Audio files: decoding, encoding, silence; arrays in, arrays out."""
