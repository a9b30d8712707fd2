-- Mark a job as to be cancelled, nudge the workers and make it due for the sweeper.
-- KEYS  1 job, 2 events (unused), 3 dispatch
-- ARGV  1 job id, 2 channel of the nudge
-- Answer: the job's status as it is, or nil when there is no such job; an ended job is not marked
local status = redis.call('HGET', KEYS[1], 'status')
if status == 'queued' or status == 'in_progress' then
  redis.call('HSETNX', KEYS[1], 'cancel', now_ms())
  redis.call('PUBLISH', ARGV[2], ARGV[1])
  if status == 'queued' or redis.call('HEXISTS', KEYS[1], 'slots') == 1 then
    redis.call('ZADD', KEYS[3], now_ms(), ARGV[1])
  end
end
if status == 'undone' then
  return nil
end
return status
