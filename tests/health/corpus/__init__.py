"""Real processes of many kinds, with what is true of each: judged under real supervisors."""
