"""Statistics over time: each process writes what it has counted in a minute, an hour and a day; readers add up."""
