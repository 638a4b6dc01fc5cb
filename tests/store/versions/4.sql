BEGIN TRANSACTION;
CREATE TABLE blocks (
        block INTEGER PRIMARY KEY,
        first_ns INTEGER NOT NULL,
        last_ns INTEGER NOT NULL
    ) STRICT;
INSERT INTO "blocks" VALUES(0,1795762175920693343,1795762179060793343);
CREATE TABLE chain (                   -- both ends of the journal: a lost last row shows too
        one INTEGER PRIMARY KEY CHECK (one = 1),
        serial INTEGER NOT NULL,
        checksum BLOB NOT NULL,
        retired_serial INTEGER NOT NULL,
        retired_checksum BLOB NOT NULL
    ) STRICT;
INSERT INTO "chain" VALUES(1,6,X'158B763FDCA9ABB28F11EC890256F66D',0,X'');
CREATE TABLE halts (                   -- one row while the kill switch is on, none otherwise
        one INTEGER PRIMARY KEY CHECK (one = 1),
        reason TEXT NOT NULL
    ) STRICT;
INSERT INTO "halts" VALUES(1,'sample');
CREATE TABLE journal (
        serial INTEGER PRIMARY KEY,
        epoch_ns INTEGER NOT NULL,
        version INTEGER NOT NULL,          -- of the body's form
        kind TEXT NOT NULL,
        order_id TEXT,
        body TEXT NOT NULL,
        checksum BLOB NOT NULL             -- over this row and the checksum of the row before
    ) STRICT;
INSERT INTO "journal" VALUES(1,1795762175920693343,1,'Intent','sample-1','{"order":{"symbol":"NSE:SBIN-EQ","quantity":10,"side":"BUY","order_type":"LIMIT","price":"652.55","trigger_price":null,"product":"INTRADAY","validity":"DAY","client_order_id":"sample-1"},"tag":"t1","provider":"fyers","attempt":1,"epoch_ns":0,"fingerprint":"","simulated":true}',X'7969B5390254AF59A197417111C9F9AE');
INSERT INTO "journal" VALUES(2,1795762175937782057,1,'Step','sample-1','{"order_id":"sample-1","before":"SUBMITTING","after":"ACCEPTED","provider":"","broker_order_id":"b1","tag":"","attempt":0,"filled_quantity":0,"average_price":"0","message":"","epoch_ns":0}',X'32FFD6520A58BCE661BCEFAF3F208D0F');
INSERT INTO "journal" VALUES(3,1795762175937782057,1,'Step','sample-1','{"order_id":"sample-1","before":"ACCEPTED","after":"PARTIALLY_FILLED","provider":"","broker_order_id":"","tag":"","attempt":0,"filled_quantity":4,"average_price":"652.5","message":"","epoch_ns":0}',X'75CC8DC0761675BB61E37CAD170DBBC2');
INSERT INTO "journal" VALUES(4,1795762175937782057,1,'Halted',NULL,'{"reason":"sample","epoch_ns":0}',X'FA5D7CE774BD81A3C0C89CEE6596A024');
INSERT INTO "journal" VALUES(5,1795762175941715943,1,'Claimed','sample-2','{"order":{"symbol":"NSE:SBIN-EQ","quantity":1,"side":"BUY","order_type":"MARKET","price":null,"trigger_price":null,"product":"INTRADAY","validity":"DAY","client_order_id":"sample-2"},"epoch_ns":1795762175941715943,"simulated":true}',X'6C2E2F3186A51D70D7B8E2D8790C9283');
INSERT INTO "journal" VALUES(6,1795762175941715943,1,'Step','sample-2','{"order_id":"sample-2","before":"NEW","after":"DENIED","provider":"","broker_order_id":"","tag":"","attempt":0,"filled_quantity":0,"average_price":"0","message":"too large","epoch_ns":0}',X'158B763FDCA9ABB28F11EC890256F66D');
CREATE TABLE limiter_states (
        provider TEXT PRIMARY KEY,
        state TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
INSERT INTO "limiter_states" VALUES('fyers','{}');
CREATE TABLE trades (
        id INTEGER PRIMARY KEY,
        order_id TEXT NOT NULL UNIQUE,
        symbol TEXT NOT NULL,
        side TEXT NOT NULL,
        quantity INTEGER NOT NULL,
        price INTEGER NOT NULL,            -- rupees in units of 1e-8
        status TEXT NOT NULL,
        provider TEXT NOT NULL,
        broker_order_id TEXT NOT NULL,
        tag TEXT NOT NULL,
        filled_quantity INTEGER NOT NULL,
        simulated INTEGER NOT NULL,
        message TEXT NOT NULL,
        epoch_ns INTEGER NOT NULL,
        updated_ns INTEGER NOT NULL,
        attempt INTEGER NOT NULL DEFAULT 0,
        request TEXT,                      -- the order as JSON; NULL for a row that is not journaled
        is_open INTEGER NOT NULL DEFAULT 0, first_serial INTEGER NOT NULL DEFAULT 0, last_serial INTEGER NOT NULL DEFAULT 0) STRICT;
INSERT INTO "trades" VALUES(1,'sample-1','NSE:SBIN-EQ','BUY',10,65250000000,'PARTIALLY_FILLED','fyers','b1','t1',4,1,'',1795762175920693343,1795762175937782057,1,'{"symbol":"NSE:SBIN-EQ","quantity":10,"side":"BUY","order_type":"LIMIT","price":"652.55","trigger_price":null,"product":"INTRADAY","validity":"DAY","client_order_id":"sample-1"}',1,1,3);
INSERT INTO "trades" VALUES(2,'sample-2','NSE:SBIN-EQ','BUY',1,0,'DENIED','','','',0,1,'too large',1795762175941715943,1795762175941715943,0,'{"symbol":"NSE:SBIN-EQ","quantity":1,"side":"BUY","order_type":"MARKET","price":null,"trigger_price":null,"product":"INTRADAY","validity":"DAY","client_order_id":"sample-2"}',0,5,6);
INSERT INTO "trades" VALUES(3,'sample-3','NSE:INFY-EQ','BUY',5,150025000000,'NEW','','','',0,1,'',1795762175957751613,1795762175957751613,0,NULL,0,0,0);
CREATE INDEX trades_by_block_and_symbol ON trades (id >> 10, symbol);
CREATE INDEX trades_open ON trades (id) WHERE is_open = 1;
COMMIT;
