//! All cores in one thread under virtual time.
