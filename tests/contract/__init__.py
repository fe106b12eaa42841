"""What tests/contract.py is made of."""
