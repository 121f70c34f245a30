"""What requests did to each bundle, as sums that add up over pods: transformers write it, whoever decides rollouts reads it."""
