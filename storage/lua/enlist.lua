-- Hand a job, or its next round, over to several agents: a slot for each, and one for the round's end.
-- KEYS  1 job, 2 events, 3 dispatch
-- ARGV  1 job id, 2 slot of the holder, 3 fence, 4 at (ISO), 5 plan, 6 round's last slot, 7 ms (Unix) when
--       the agents' time is over, 8 ms until the sweeper looks, 9 ms (Unix) when it looks at the job itself,
--       10 count of agents' slots, then their names, 11+count number and 12+count size of the batch that
--       may be here already, then type and data of each event still to append
-- Answer: 'held' (it is the agents' now) | 'cancelled' (as held, and a cancel was asked for) | 'lost' (the
--         fence is not the current one; nothing is changed)
local holder, count = ARGV[2], tonumber(ARGV[10])
if not holds(holder, ARGV[3]) then
  return 'lost'
end
append_after_unsure(ARGV[1], holder, ARGV[4], tonumber(ARGV[11 + count]), tonumber(ARGV[12 + count]), 13 + count)
local now, last = now_ms(), ARGV[6]
local names = redis.call('HGET', KEYS[1], 'slots') or ''
for i = 11, 10 + count do
  local slot = ARGV[i]
  redis.call('HSET', KEYS[1], field(slot, 'state'), 'queued', field(slot, 'attempt'), 0,
    field(slot, 'queued'), now, field(slot, 'deadline'), ARGV[7], field(slot, 'next'), last)
  redis.call('ZADD', KEYS[3], now + ARGV[8], entry(ARGV[1], slot))
  names = names .. ' ' .. slot
end
redis.call('HSET', KEYS[1], field(last, 'state'), 'queued', field(last, 'attempt'), 0,
  field(last, 'left'), count, 'slots', names .. ' ' .. last, 'team', ARGV[5])
redis.call('HDEL', KEYS[1], field(holder, 'fence'), field(holder, 'lease'))
if holder ~= '' then
  redis.call('HSET', KEYS[1], field(holder, 'state'), 'done')
  redis.call('ZREM', KEYS[3], entry(ARGV[1], holder))
end
redis.call('ZADD', KEYS[3], ARGV[9], ARGV[1])
tell()
if redis.call('HEXISTS', KEYS[1], 'cancel') == 1 then
  return 'cancelled'
end
return 'held'
