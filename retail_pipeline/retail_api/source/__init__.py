"""The records that the mock API serves: from a transactions file or from the simulator."""
