"""Parts that several pages share: the session, controls drawn from specs, token text, charts, job progress."""
