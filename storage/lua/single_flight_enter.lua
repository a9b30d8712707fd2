-- Lead the answering of a question, be told how it was answered just now, or wait for the leader: a job that waits is
-- parked, back in the queue without a lease, and its attempt does not count.
-- KEYS  1 job, 2 events (unused), 3 dispatch, 4 leader, 5 parked, 6 note
-- ARGV  1 job id, 2 fence, 3 lease ms, 4 the note 'alone'
-- Answer: {'lead'} | {'parked'} | {'note', note} | {'lost'} (the fence is not the current one; nothing is changed)
local job_id, fence, lease_ms, alone = unpack(ARGV)
local dispatch, leader_key, parked_key, note_key = KEYS[3], KEYS[4], KEYS[5], KEYS[6]
-- Longer than any leader; whoever is parked comes again after a lease in any case.
local PARKED_KEPT_MS = 3600000

if not holds('', fence) then
  return {'lost'}
end
local note, leader = redis.call('GET', note_key), redis.call('GET', leader_key)
if not note and redis.call('HEXISTS', KEYS[1], 'alone') == 1 then
  note = alone
end
if not note and leader and leader ~= job_id then
  redis.call('ZADD', parked_key, 'NX', now_ms(), job_id)
  redis.call('PEXPIRE', parked_key, PARKED_KEPT_MS)
  redis.call('HSET', KEYS[1], 'parked', 1)
  give_back(job_id, '', dispatch, lease_ms)
  return {'parked'}
end
redis.call('ZREM', parked_key, job_id)
if not note then
  redis.call('SET', leader_key, job_id, 'PX', lease_ms)
  return {'lead'}
end
if note == alone then
  -- The note is gone after a while; the job is not to wait for another leader then.
  redis.call('HSET', KEYS[1], 'alone', 1)
end
return {'note', note}
