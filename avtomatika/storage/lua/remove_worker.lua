-- Forgets a worker.
-- parts: workers

forget_worker(B.id)
return cmsgpack.pack({false, {}})
