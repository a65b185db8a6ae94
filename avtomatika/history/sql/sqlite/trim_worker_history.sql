DELETE FROM worker_history WHERE position <= (SELECT max(position) FROM worker_history) - ?
