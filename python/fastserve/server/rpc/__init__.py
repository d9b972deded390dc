"""gRPC's side of the control plane: what is no inference."""
