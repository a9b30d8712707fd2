-- Give a job, or one slot of it, back for a while; the attempt does not count.
-- KEYS  1 job, 2 events, 3 dispatch
-- ARGV  1 job id, 2 slot, 3 fence, 4 at (ISO), 5 ms to wait, 6 data of job.retrying, 7 number and 8 size
--       of the batch that may be here already, 9 what the job or slot has used so far (JSON), then type and data
--       of each event still to append
-- Answer: 1, or 0 when the fence is not the current one (nothing is changed)
local slot = ARGV[2]
if not holds(slot, ARGV[3]) then
  return 0
end
append_after_unsure(ARGV[1], slot, ARGV[4], tonumber(ARGV[7]), tonumber(ARGV[8]), 10)
append_event(ARGV[1], 'job.retrying', ARGV[4], ARGV[6])
if slot == '' then
  redis.call('HSET', KEYS[1], 'status', 'queued')
else
  redis.call('HSET', KEYS[1], field(slot, 'state'), 'queued', 'loose', 1)
end
redis.call('HSET', KEYS[1], field(slot, 'used'), ARGV[9])
redis.call('HINCRBY', KEYS[1], field(slot, 'attempt'), -1)
redis.call('HDEL', KEYS[1], field(slot, 'fence'), field(slot, 'lease'))
redis.call('ZADD', KEYS[3], now_ms() + ARGV[5], entry(ARGV[1], slot))
tell()
return 1
