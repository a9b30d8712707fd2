-- Make a job lead the answering of its question, return the note of a leader that has just ended, or park the job: put
-- it back in the queue without a lease, its attempt not counted, until the leader ends.
-- KEYS  1 job, 2 events (unused), 3 leader, 4 parked, 5 note
-- ARGV  1 job id, 2 fence, 3 lease ms, 4 the note 'alone', 5 '1' if the job was parked until now else '0'
-- Answer: {'lead'} | {'parked'} | {'note', note} | {'lost'} (the fence is not the current one; nothing is changed)
local job_id, fence, lease_ms, alone, was_parked = unpack(ARGV)
local leader_key, parked_key, note_key = KEYS[3], KEYS[4], KEYS[5]
-- Longer than any leader takes; a parked job comes back after a lease in any case.
local PARKED_KEPT_MS = 3600000

if not holds('', fence) then
  return {'lost'}
end
local note, parked_only = unpack(redis.call('HMGET', note_key, 'note', 'parked_only'))
local leader = redis.call('GET', leader_key)
if parked_only == '1' and was_parked == '0' then
  -- A failure is shared by those who waited for it; who asks afterwards tries again.
  note = false
end
if not note and redis.call('HEXISTS', KEYS[1], 'alone') == 1 then
  note = alone
end
if not note and leader and leader ~= job_id then
  redis.call('ZADD', parked_key, 'NX', now_ms(), job_id)
  redis.call('PEXPIRE', parked_key, PARKED_KEPT_MS)
  redis.call('HSET', KEYS[1], 'parked', 1)
  give_back(job_id, '', true)
  watch_waiting(job_id, '')
  redis.call('ZADD', DEFERRED, now_ms() + lease_ms, job_id)
  return {'parked'}
end
redis.call('ZREM', parked_key, job_id)
if not note then
  redis.call('SET', leader_key, job_id, 'PX', lease_ms)
  return {'lead'}
end
if note == alone then
  -- The note expires; this job must not be parked behind another leader after that.
  redis.call('HSET', KEYS[1], 'alone', 1)
end
return {'note', note}
