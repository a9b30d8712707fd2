-- Set what the budget of a user's month holds and has paid, unless that is being changed meanwhile.
-- KEYS  1 budget, 2 active
-- ARGV  1 micros that it has paid as they were read, or '' where they were not known, 2 micros that it has paid
-- Answer: {1, what it holds} when set, {0} when it has paid something since it was read
local seen, paid = unpack(ARGV)
local budget, active = KEYS[1], KEYS[2]

if (redis.call('HGET', budget, 'spent') or '') ~= seen then
  return { 0 }
end
local held = 0
for _, unit in ipairs(redis.call('ZRANGE', active, 0, -1)) do
  -- A team counts several times.
  if not string.find(unit, '#', 1, true) then
    turn_to(unit)
    local job = redis.call('HMGET', KEYS[1], 'reserved', 'budgets')
    for _, own in ipairs(read_budgets(job[2])) do
      held = held + (own.key == budget and tonumber(job[1] or 0) or 0)
    end
  end
end
redis.call('HSET', budget, 'spent', paid, 'reserved', whole(held), 'known', 1)
redis.call('EXPIRE', budget, BUDGETS_KEPT_S)
return { 1, held }
