#!/bin/sh
# Stands for a deployment: notes what was deployed, and with which outputs of `build`.
echo "deploying to $1"
echo "$1 $(cat "$UPSTREAM_OUTPUTS")" >>"$DEPLOYED"
