-- Give a job to a worker: a new attempt with a new fence and a lease.
-- KEYS  1 job, 2 events, 3 dispatch
-- ARGV  1 job id, 2 fence, 3 lease ms, 4 at (ISO), 5 most attempts
-- Answer: {spec, attempt, accepted ms, used before (JSON) or ''} or nil when there is nothing to do: the job is unknown, ended,
--         cancelled, out of attempts, with its team, or another worker's lease is alive
local state = redis.call('HMGET', KEYS[1], 'status', 'attempt', 'lease', 'cancel', 'spec', 'accepted', 'seq',
  'used')
local status, attempt, now = state[1], tonumber(state[2] or 0), now_ms()
local is_free = status == 'queued' or (status == 'in_progress' and state[3] and tonumber(state[3]) <= now)
if not is_free or state[4] or attempt >= tonumber(ARGV[5]) then
  return nil
end
attempt = attempt + 1
local lease = now + ARGV[3]
redis.call('HSET', KEYS[1], 'status', 'in_progress', 'attempt', attempt, 'fence', ARGV[2],
  'lease', lease, 'batch', 0)
redis.call('HSETNX', KEYS[1], 'started', now)
redis.call('ZADD', KEYS[3], lease, ARGV[1])
if attempt > 1 then
  append_event(ARGV[1], 'job.retrying', ARGV[4],
    '{"attempt":' .. attempt .. ',"reason":"worker_lost","superseded_through":' .. state[7] .. '}')
end
append_event(ARGV[1], 'job.started', ARGV[4], '{"attempt":' .. attempt .. '}')
tell()
return {state[5], attempt, tonumber(state[6]), state[8] or ''}
