-- Hand a job, or its next round, over to several agents: a slot for each, and one for the round's end.
-- KEYS  1 job, 2 events
-- ARGV  1 job id, 2 slot of the holder, 3 fence, 4 at (ISO), 5 plan, 6 the round's last slot, 7 ms (Unix) when the
--       agents' time is over, 8 ms (Unix) when the sweeper looks at the job itself, 9 number and 10 size of the
--       batch that may be here already, 11 count of the agents' slots, then their names, then type and data of each
--       event still to append
-- Answer: 'held' (it is the agents' now) | 'cancelled' (as held, and a cancel was asked for) | 'lost' (the
--         fence is not the current one; nothing is changed)
local job_id, holder, fence, at, plan, last, deadline_ms, look_at_job_ms = unpack(ARGV, 1, 8)
local batch, batch_size, slot_count = unpack(ARGV, 9, 11)
local first_slot = 12
local first_event = first_slot + slot_count

if not holds(holder, fence) then
  return 'lost'
end
append_after_unsure(job_id, holder, at, batch, batch_size, first_event)
local names = redis.call('HGET', KEYS[1], 'slots') or ''
for i = first_slot, first_event - 1 do
  local slot = ARGV[i]
  redis.call('HSET', KEYS[1], field(slot, 'state'), 'queued', field(slot, 'attempt'), 0,
    field(slot, 'deadline'), deadline_ms, field(slot, 'next'), last)
  names = names .. ' ' .. slot
end
redis.call('HSET', KEYS[1], field(last, 'state'), 'queued', field(last, 'attempt'), 0,
  field(last, 'left'), slot_count, 'slots', names .. ' ' .. last, 'team', plan)
redis.call('HDEL', KEYS[1], field(holder, 'fence'), field(holder, 'lease'))
if holder ~= '' then
  redis.call('HSET', KEYS[1], field(holder, 'state'), 'done')
  redis.call('ZREM', WATCH, unit_of(job_id, holder))
end
stop_running(job_id, holder, false)
redis.call('ZADD', WATCH, look_at_job_ms, job_id)
for i = first_slot, first_event - 1 do
  local slot = ARGV[i]
  enter_begun(job_id, slot, '')
  watch_waiting(job_id, slot)
end
publish()
return is_cancelled() and 'cancelled' or 'held'
