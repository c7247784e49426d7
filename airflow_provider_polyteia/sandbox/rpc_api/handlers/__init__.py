"""Operations of the RPC API, for which it has rules of its own. Others are the backend's."""
