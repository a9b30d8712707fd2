-- Put work whose time has come into its lines.
-- KEYS  none
-- ARGV  1 most units
-- Answer: {units that have to be woken by messages, units that were put into lines}
local due = redis.call('ZRANGEBYSCORE', DEFERRED, '-inf', now_ms(), 'LIMIT', 0, ARGV[1])

for _, unit in ipairs(due) do
  local job_id, slot = split_unit(unit)
  turn_to(job_id)
  redis.call('ZREM', DEFERRED, unit)
  local state = redis.call('HMGET', KEYS[1], 'status', field(slot, 'state'), 'started')
  local own = slot == '' and state[1] or state[2]
  if own == 'queued' and state[3] then
    enter_begun(job_id, slot, '')
  elseif own == 'queued' then
    enter_new(job_id, 0, 0)
  end
end
return {wake(#due), #due}
