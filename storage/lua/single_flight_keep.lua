-- Keep leading.
-- KEYS  1 leader
-- ARGV  1 job id, 2 for how long, ms
-- Answer: 1, or 0 when the job does not lead
local job_id, keep_ms = unpack(ARGV)

if redis.call('GET', KEYS[1]) ~= job_id then
  return 0
end
return redis.call('PEXPIRE', KEYS[1], keep_ms)
