"""Operations of the platform. Each takes the session of a caller and validated parameters."""
