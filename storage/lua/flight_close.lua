-- Stop leading, and take over the claims of all who are still lined up.
-- KEYS  1 flight, 2 waiting
-- ARGV  1 token of the leader, 2 the answer for who comes next, or '', 3 for how long, ms
-- Answer: the claims, oldest first; none for who did not lead any more
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return {}
end
if ARGV[2] ~= '' then
  redis.call('SET', KEYS[1], 'answer:' .. ARGV[2], 'PX', ARGV[3])
else
  redis.call('DEL', KEYS[1])
end
local claims = redis.call('LRANGE', KEYS[2], 0, -1)
redis.call('DEL', KEYS[2])
return claims
