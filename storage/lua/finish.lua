-- End a job: last events, outcome, settlement, terminal event, entry for the record. Exactly once.
-- KEYS  1 job, 2 events, 3 active, 4 spend, 5 dispatch, 6 records, 7 conversation
-- ARGV  1 job id, 2 fence, 3 at (ISO), 4 status, 5 outcome, 6 cost in micros, 7 terminal type,
--       8 terminal data, 9 conversation turn or '', 10 turns kept, 11 conversation ttl s,
--       12 number and 13 size of the batch that may be here already (0, 0: there is none),
--       then type and data of each event still to append, that batch first
-- Answer: 1, or 0 when the fence is not the current one (nothing is changed)
if not holds(ARGV[2]) then
  return 0
end
append_after_unsure(ARGV[1], ARGV[3], tonumber(ARGV[12]), tonumber(ARGV[13]), 14)
append_event(ARGV[1], ARGV[7], ARGV[3], ARGV[8])
local reserved = redis.call('HGET', KEYS[1], 'reserved')
redis.call('HSET', KEYS[1], 'status', ARGV[4], 'outcome', ARGV[5], 'finished', now_ms())
redis.call('HDEL', KEYS[1], 'fence', 'lease', 'cancel')
redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('HINCRBY', KEYS[4], 'reserved', 0 - tonumber(reserved))
redis.call('HINCRBY', KEYS[4], 'spent', ARGV[6])
redis.call('ZREM', KEYS[5], ARGV[1])
redis.call('XADD', KEYS[6], '*', 'id', ARGV[1])
if ARGV[9] ~= '' then
  redis.call('RPUSH', KEYS[7], ARGV[9])
  redis.call('LTRIM', KEYS[7], -tonumber(ARGV[10]), -1)
  redis.call('EXPIRE', KEYS[7], ARGV[11])
end
tell()
return 1
