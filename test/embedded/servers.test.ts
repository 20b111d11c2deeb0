import t from 'tap'
t.ok(process.env.TEST_REDIS_URL)
t.ok(process.env.TEST_DATABASE_URL)
