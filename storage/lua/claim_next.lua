-- Give a worker whoever is next: of the users of whom something may start the one who was given least, and of his line
-- the first unit. A new attempt begins, with a new fence and a lease.
-- KEYS  none
-- ARGV  1 fence, 2 lease ms, 3 most attempts, 4 '1' where the thread is kept for quick jobs and for users for whom
--       nothing runs, 5 name of the thread while it waits, 6 for how long it waits where there is nothing, ms, or 0,
--       7 '1' if it has waited
-- Answer: {'job', job id, spec, question, attempt, accepted ms, queued ms, deadline ms, parked or '', money…}
--         | {'slot', job id, slot, spec, question, plan, attempt, queued ms, deadline ms, accepted ms, started ms, money…}
--         | {'none', ms until a closed model opens, or -1}; money is: micros that the accept held for the job, or '', those
--         that the unit holds since it was topped up, or '', and those that attempts at it paid which were given back
local fence, lease_ms, most_attempts, is_kept, waiter, wait_ms, has_waited = unpack(ARGV)
local now, draining = now_ms(), is_draining()
-- A batch starts at least so often among those that start.
local STARTS_A_BATCH = 20
local MOST_LOOKS = 200
-- How long nobody else is called who waits for the same model, and how long a unit has its turn to ask the budget.
local TURN_MS, TURN_KEPT_MS = 20, 5000

local opens_at = nil

local function is_open(model)
  if model == '' then
    return true
  end
  local until_ms = tonumber(redis.call('HGET', CLOSED, model) or 0)
  if until_ms > now then
    opens_at = math.min(opens_at or until_ms, until_ms)
    return false
  end
  redis.call('HDEL', CLOSED, model)
  return true
end

local function first_score(lane, user)
  local key = redis.call('ZRANGE', keys_key(lane, user), 0, 0)[1]
  return key and tonumber(redis.call('ZRANGE', units_key(lane, user, key), 0, 0, 'WITHSCORES')[2]) or math.huge
end

local function is_before(one, other)
  if not other or one.share ~= other.share then
    return not other or one.share < other.share
  end
  if one.user ~= other.user then
    return one.user < other.user
  end
  return first_score(one.lane, one.user) < first_score(other.lane, other.user)
end

-- Return the user who was given least of those in a set of a lane; nil where there is none.
local function first_of(set, lane, kind, class, model)
  local user = redis.call('ZRANGE', LINES .. set .. lane, 0, 0, 'WITHSCORES')
  if not user[1] then
    return nil
  end
  local share = math.max(tonumber(user[2]), share_of(class, ''))
  return { lane = lane, kind = kind, class = class, model = model, user = user[1], share = share }
end

-- Return the user and the lane that are next, of each class, and the least share of all who may start, with or without
-- this thread.
local function find_first()
  local first, least = {}, {}
  for _, lane in ipairs(redis.call('HKEYS', WAITING)) do
    local class, kind, model = string.match(lane, '^(%a):(%a+):(.*)$')
    local is_begun_team = kind == 'agent' or kind == 'finish'
    if is_open(model) and (is_begun_team or not draining) then
      local candidate = first_of('ready:', lane, kind, class, model)
      least[class] = math.min(least[class] or math.huge, candidate and candidate.share or math.huge)
      if is_kept == '1' and kind ~= 'quick' then
        candidate = first_of('idle:', lane, kind, class, model)
      end
      if candidate and is_before(candidate, first[class]) then
        first[class] = candidate
      end
    end
  end
  return first, least
end

local function choose()
  local first, least = find_first()
  local chosen = first.b or first.i
  if first.b and first.i then
    local since = tonumber(redis.call('HGET', CLOCK, 'since_batch') or 0) + 1
    chosen = since >= STARTS_A_BATCH and first.b or first.i
    chosen.has_batch_waited = true
  end
  if chosen then
    chosen.least = least[chosen.class]
  end
  return chosen
end

-- Take the first unit out of a user's line in a lane.
local function pop(found)
  local keys = keys_key(found.lane, found.user)
  local key = redis.call('ZRANGE', keys, 0, 0)[1]
  local units = units_key(found.lane, found.user, key)
  local unit = redis.call('ZPOPMIN', units)[1]
  count_out(found.lane, found.user, key)
  return unit, key
end

-- Begin an attempt at a job or slot; nil when nobody may: the sweeper knows of it, or there is nothing left to do.
local function begin(job_id, slot)
  local names = { 'status', 'cancel', 'line', 'spec', 'question', 'accepted', 'expires', 'allowed', 'deadline',
    'parked', 'team', 'started', 'held', field(slot, 'state'), field(slot, 'attempt'), field(slot, 'queued'),
    field(slot, 'deadline'), field(slot, 'granted'), field(slot, 'paid') }
  local found = redis.call('HMGET', KEYS[1], unpack(names))
  local job = {}
  for i, name in ipairs(names) do
    job[name] = found[i]
  end
  redis.call('HDEL', KEYS[1], field(slot, 'lane'))
  local state = slot == '' and job.status or job[field(slot, 'state')]
  local attempt = tonumber(job[field(slot, 'attempt')] or 0) + 1
  local is_over = not job.line or job.cancel or state ~= 'queued' or attempt > tonumber(most_attempts)
  local is_expired = job.expires and not job.started and tonumber(job.expires) <= now
  if is_over or is_expired or (slot ~= '' and job.status ~= 'in_progress') then
    return nil
  end
  local lease, line = now + lease_ms, to_line(job.line)
  redis.call('HSET', KEYS[1], slot == '' and 'status' or field(slot, 'state'), slot == '' and 'in_progress' or 'running',
    field(slot, 'attempt'), attempt, field(slot, 'fence'), fence, field(slot, 'lease'), lease, field(slot, 'batch'), 0)
  redis.call('ZADD', WATCH, lease, unit_of(job_id, slot))
  redis.call('ZADD', running_key(line.user), lease, unit_of(job_id, slot))
  local held, granted, paid = job.held or '', job[field(slot, 'granted')] or '', job[field(slot, 'paid')] or 0
  if slot ~= '' then
    return { 'slot', job_id, slot, job.spec, job.question, job.team, attempt, tonumber(job[field(slot, 'queued')]),
      tonumber(job[field(slot, 'deadline')] or job.deadline or 0), tonumber(job.accepted), tonumber(job.started or 0),
      held, granted, tonumber(paid) }, line
  end
  if not job.started then
    job.deadline = now + job.allowed
    redis.call('HSET', KEYS[1], 'started', now, 'deadline', whole(job.deadline))
    redis.call('ZREM', EXPIRING, job_id)
    if line.key ~= '' then
      redis.call('ZADD', holding_key(line), now, job_id)
    end
  end
  if job.parked then
    redis.call('HDEL', KEYS[1], 'parked')
  end
  return { 'job', job_id, job.spec, job.question or false, attempt, tonumber(job.accepted), tonumber(job.queued),
    tonumber(job.deadline), job.parked or '', held, granted, tonumber(paid) }, line
end

-- Put a start on the account of its user. The clock goes by who was given least, not by who could use this thread:
-- whoever has to wait for another thread keeps what he is owed.
local function count_start(found, line)
  redis.call('HSET', CLOCK, found.class, string.format('%.9f', found.least))
  set_share(found.class, found.user, found.share + 1 / line.weight)
  redis.call('ZREMRANGEBYSCORE', LINES .. 'shares:' .. found.class, '-inf', '(' .. redis.call('HGET', CLOCK, found.class))
  if found.class == 'b' then
    redis.call('HDEL', CLOCK, 'since_batch')
  elseif found.has_batch_waited then
    redis.call('HINCRBY', CLOCK, 'since_batch', 1)
  end
  local bucket = LINES .. 'starts:' .. math.floor(now / 10000)
  redis.call('INCR', bucket)
  redis.call('EXPIRE', bucket, 60)
end

if has_waited == '1' then
  redis.call('ZREM', LINES .. 'waiters', waiter)
end
for _ = 1, MOST_LOOKS do
  local found = choose()
  if not found then
    break
  end
  local unit, key = pop(found)
  local claimed, line
  if unit then
    local job_id, slot = split_unit(unit)
    turn_to(job_id)
    claimed, line = begin(job_id, slot)
  end
  if claimed then
    if found.model ~= '' then
      -- One at a time: whoever is next has asked the budget before another one comes.
      redis.call('HSET', CLOSED, found.model, now + TURN_MS)
      redis.call('SET', LINES .. 'turn:' .. unit, found.model, 'PX', TURN_KEPT_MS)
    end
    place_key(found.lane, line, key, true)
    if key ~= '' then
      -- The job holds its key in every lane.
      for _, lane in ipairs(redis.call('HKEYS', WAITING)) do
        place_key(lane, line, key, false)
      end
    end
    count_start(found, line)
    place_everywhere(line, found.lane)
    return claimed
  end
  -- A unit that nobody may begin leaves only its place behind.
  line = { user = found.user, key = key, limit = math.huge, most = math.huge }
  place_key(found.lane, line, key, true)
  place(found.lane, line, count_units(found.user))
end
if tonumber(wait_ms) > 0 then
  redis.call('ZADD', LINES .. 'waiters', now + wait_ms, waiter)
end
return { 'none', opens_at and opens_at - now or -1 }
