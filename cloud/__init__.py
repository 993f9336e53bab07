"""The reference head office: takes in what boxes send, hands out catalogues and policy, shows the fleet."""
