-- Put a job, or one slot of it, whose worker is gone back into its line; one that stands there already, or waits for a
-- time, is watched over until its deadline.
-- KEYS  1 job, 2 events (unused)
-- ARGV  1 job id, 2 slot
-- Answer: {1 when it is in its line now else 0, how many have to be woken by messages}
local job_id, slot = unpack(ARGV)
local now = now_ms()

local job = redis.call('HMGET', KEYS[1], 'status', 'started')
local own = redis.call('HMGET', KEYS[1], field(slot, 'state'), field(slot, 'lease'), field(slot, 'lane'), field(slot, 'left'))
local state, lease = slot == '' and job[1] or own[1], tonumber(own[2])
if not job[2] or (slot ~= '' and (job[1] ~= 'in_progress' or tonumber(own[4] or 0) > 0)) then
  -- What has not begun is nobody's; whoever took it over to end it is followed by the next who does.
  return { 0, 0 }
end
if (state == 'in_progress' or state == 'running') and lease and lease <= now then
  give_back(job_id, slot, false)
elseif state ~= 'queued' then
  return { 0, 0 }
end
watch_waiting(job_id, slot)
if own[3] or redis.call('ZSCORE', DEFERRED, unit_of(job_id, slot)) then
  return { 0, 0 }
end
enter_begun(job_id, slot, '')
return { 1, wake(1) }
