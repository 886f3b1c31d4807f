"""A trained model at work: whole recordings, streams, videos and webcams; several models together."""
