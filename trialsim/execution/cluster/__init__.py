"""Sending a run to a Ray cluster that is elsewhere: what travels (parcel), the job (jobs), what comes back (delivery)."""
