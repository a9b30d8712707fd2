-- Keep what the user says of an ended job in its hash, or take it out of there, while Redis still has the job.
-- KEYS  1 job, 2 events (unused)
-- ARGV  1 feedback (JSON), or '' for none
-- Answer: 1, or 0 where no ended job is here (nothing is changed)
local feedback = unpack(ARGV)

local state = redis.call('HMGET', KEYS[1], 'spec', 'status')
if not state[1] or state[2] == 'queued' or state[2] == 'in_progress' then
  return 0
end
if feedback == '' then
  redis.call('HDEL', KEYS[1], 'feedback')
else
  redis.call('HSET', KEYS[1], 'feedback', feedback)
end
return 1
