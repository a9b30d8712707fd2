-- Give a job back for a while; the attempt does not count.
-- KEYS  1 job, 2 events, 3 dispatch
-- ARGV  1 job id, 2 fence, 3 at (ISO), 4 ms to wait, 5 data of job.retrying, 6 number and 7 size of
--       the batch that may be here already, then type and data of each event still to append
-- Answer: 1, or 0 when the fence is not the current one (nothing is changed)
if not holds(ARGV[2]) then
  return 0
end
append_after_unsure(ARGV[1], ARGV[3], tonumber(ARGV[6]), tonumber(ARGV[7]), 8)
append_event(ARGV[1], 'job.retrying', ARGV[3], ARGV[5])
redis.call('HSET', KEYS[1], 'status', 'queued')
redis.call('HINCRBY', KEYS[1], 'attempt', -1)
redis.call('HDEL', KEYS[1], 'fence', 'lease')
redis.call('ZADD', KEYS[3], now_ms() + ARGV[4], ARGV[1])
tell()
return 1
