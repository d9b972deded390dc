"""KServe v2 over gRPC, without grpcio."""
