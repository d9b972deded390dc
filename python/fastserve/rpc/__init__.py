"""What is spoken over gRPC, as tables and as protobuf's classes; for the server and the client."""
