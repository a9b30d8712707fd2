-- Put a job, or one slot of it, whose worker is gone back in the queue, or postpone the look at one that
-- waits there.
-- KEYS  1 job, 2 events (unused), 3 dispatch
-- ARGV  1 job id, 2 slot, 3 ms until the next look
-- Answer: 1 when it is queued and wants publishing, else 0
local slot = ARGV[2]
local place = slot == '' and 'status' or field(slot, 'state')
local state = redis.call('HMGET', KEYS[1], place, field(slot, 'lease'), 'status')
local now = now_ms()
if slot ~= '' and state[3] ~= 'in_progress' then
  return 0
end
if (state[1] == 'in_progress' or state[1] == 'running') and state[2] and tonumber(state[2]) <= now then
  redis.call('HSET', KEYS[1], place, 'queued')
  redis.call('HDEL', KEYS[1], field(slot, 'fence'), field(slot, 'lease'))
elseif state[1] ~= 'queued' then
  return 0
end
if slot ~= '' then
  redis.call('HSET', KEYS[1], 'loose', 1)
end
redis.call('ZADD', KEYS[3], now + ARGV[3], entry(ARGV[1], slot))
return 1
