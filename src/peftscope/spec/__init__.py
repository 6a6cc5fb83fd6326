"""What the user writes and what one run is: input specs, output records. No torch."""
