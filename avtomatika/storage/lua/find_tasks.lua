-- Tasks by their ids.
-- parts: tasks

return cmsgpack.pack({read_tasks(B.ids), {}})
