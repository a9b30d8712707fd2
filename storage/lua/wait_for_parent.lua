-- Give a job back that cannot begin yet: the one that it goes on with has not ended, or cannot be read. The attempt does
-- not count, nothing is taken from its user's share, and the job lets go of its key, which the other one needs. The time
-- of a job of which nothing was ever published has not begun.
-- KEYS  1 job, 2 events
-- ARGV  1 job id, 2 fence, 3 ms to wait
-- Answer: 1, or 0 when the fence is not the current one (nothing is changed)
local job_id, fence, wait_ms = unpack(ARGV)

if not holds('', fence) then
  return 0
end
local line = line_of_job()
set_share(line.class, line.user, share_of(line.class, line.user) - 1 / line.weight)
give_back(job_id, '', true)
local shown = redis.call('HMGET', KEYS[1], 'attempt', 'seq')
if tonumber(shown[1]) == 0 and tonumber(shown[2]) == 1 then
  stop_running(job_id, '', true)
  undo_start(job_id)
else
  watch_waiting(job_id, '')
end
redis.call('ZADD', DEFERRED, now_ms() + wait_ms, job_id)
return 1
