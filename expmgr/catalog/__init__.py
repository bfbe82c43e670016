"""What models there are and what is known of each, joined once. Pure: no client, no request."""
