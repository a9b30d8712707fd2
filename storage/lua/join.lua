-- Give one slot of a job to a worker: a new attempt with a new fence and a lease.
-- KEYS  1 job, 2 events, 3 dispatch
-- ARGV  1 job id, 2 slot, 3 fence, 4 lease ms, 5 at (ISO), 6 most attempts, 7 data of job.retrying without
--       its last two members and brace, or '' when the attempt is not to be told
-- Answer: {'joined', spec, plan, attempt, queued ms, deadline ms, accepted ms, started ms,
--         used before (JSON) or ''}
--         | {'held'} (a live worker has it, or its turn has not come) | {'done'} | {'over'} (the job has
--         ended or is to end, or the slot is out of attempts)
local slot, now = ARGV[2], now_ms()
local job = redis.call('HMGET', KEYS[1], 'status', 'cancel', 'spec', 'team', 'accepted', 'seq', 'started')
local mine = redis.call('HMGET', KEYS[1], field(slot, 'state'), field(slot, 'attempt'), field(slot, 'lease'),
  field(slot, 'left'), field(slot, 'queued'), field(slot, 'deadline'),
  field(slot, 'used'))
if job[1] ~= 'in_progress' or job[2] or not mine[1] then
  return {'over'}
end
if mine[1] == 'done' then
  return {'done'}
end
if tonumber(mine[4] or 0) > 0 or (mine[1] == 'running' and tonumber(mine[3]) > now) then
  return {'held'}
end
local attempt, lease = tonumber(mine[2]) + 1, now + ARGV[4]
if attempt > tonumber(ARGV[6]) then
  return {'over'}
end
redis.call('HSET', KEYS[1], field(slot, 'state'), 'running', field(slot, 'attempt'), attempt,
  field(slot, 'fence'), ARGV[3], field(slot, 'lease'), lease, field(slot, 'batch'), 0)
redis.call('ZADD', KEYS[3], lease, entry(ARGV[1], slot))
if attempt > 1 and ARGV[7] ~= '' then
  append_event(ARGV[1], 'job.retrying', ARGV[5],
    ARGV[7] .. ',"attempt":' .. attempt .. ',"superseded_through":' .. job[6] .. '}')
  tell()
end
return {'joined', job[3], job[4], attempt, tonumber(mine[5] or 0), tonumber(mine[6] or 0), tonumber(job[5]),
  tonumber(job[7]), mine[7] or ''}
