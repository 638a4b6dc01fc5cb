BEGIN TRANSACTION;
CREATE TABLE blocks (
        block INTEGER PRIMARY KEY,
        first_ns INTEGER NOT NULL,
        last_ns INTEGER NOT NULL
    ) STRICT;
INSERT INTO "blocks" VALUES(0,1795701057551580581,1795701057554243721);
CREATE TABLE chain (                   -- both ends of the journal: a lost last row shows too
        one INTEGER PRIMARY KEY CHECK (one = 1),
        serial INTEGER NOT NULL,
        checksum BLOB NOT NULL,
        retired_serial INTEGER NOT NULL,
        retired_checksum BLOB NOT NULL
    ) STRICT;
INSERT INTO "chain" VALUES(1,7,X'4BBDCD64FE4635F3217CA26FAA056E7C',0,X'');
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
INSERT INTO "journal" VALUES(1,1795701057551580581,1,'Claimed','sample-1','{"order":{"symbol":"NSE:SBIN-EQ","quantity":10,"side":"BUY","order_type":"LIMIT","price":"652.55","trigger_price":null,"product":"INTRADAY","validity":"DAY","client_order_id":"sample-1"},"epoch_ns":1795701057551580581,"simulated":true}',X'3368AC1755CB9C8D597D67D26C53CB45');
INSERT INTO "journal" VALUES(2,1795701057551580581,1,'Intent','sample-1','{"order":{"symbol":"NSE:SBIN-EQ","quantity":10,"side":"BUY","order_type":"LIMIT","price":"652.55","trigger_price":null,"product":"INTRADAY","validity":"DAY","client_order_id":"sample-1"},"tag":"t1","provider":"fyers","attempt":1,"epoch_ns":0,"fingerprint":"","simulated":true}',X'B675ACEB1FA87245BB018359E3E3D894');
INSERT INTO "journal" VALUES(3,1795701057552593359,1,'Step','sample-1','{"order_id":"sample-1","before":"SUBMITTING","after":"ACCEPTED","provider":"","broker_order_id":"b1","tag":"","attempt":0,"filled_quantity":0,"average_price":"0","message":"","epoch_ns":0}',X'5C56AC6247D0B0818C5DC2BB04F81B96');
INSERT INTO "journal" VALUES(4,1795701057552593359,1,'Step','sample-1','{"order_id":"sample-1","before":"ACCEPTED","after":"PARTIALLY_FILLED","provider":"","broker_order_id":"","tag":"","attempt":0,"filled_quantity":4,"average_price":"652.5","message":"","epoch_ns":0}',X'DAD713525B45CA0F95C51AD69E5951E4');
INSERT INTO "journal" VALUES(5,1795701057552593359,1,'Halted',NULL,'{"reason":"sample","epoch_ns":0}',X'207FCA6E183A5FB4B707CE0F565F3D97');
INSERT INTO "journal" VALUES(6,1795701057553105287,1,'Claimed','sample-2','{"order":{"symbol":"NSE:SBIN-EQ","quantity":1,"side":"BUY","order_type":"MARKET","price":null,"trigger_price":null,"product":"INTRADAY","validity":"DAY","client_order_id":"sample-2"},"epoch_ns":1795701057553105287,"simulated":true}',X'030A260707A8875ECAADF9962E0E159A');
INSERT INTO "journal" VALUES(7,1795701057553105287,1,'Step','sample-2','{"order_id":"sample-2","before":"NEW","after":"DENIED","provider":"","broker_order_id":"","tag":"","attempt":0,"filled_quantity":0,"average_price":"0","message":"too large","epoch_ns":0}',X'4BBDCD64FE4635F3217CA26FAA056E7C');
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
        fingerprint TEXT
    , is_open INTEGER NOT NULL DEFAULT 0) STRICT;
INSERT INTO "trades" VALUES(1,'sample-1','NSE:SBIN-EQ','BUY',10,65250000000,'PARTIALLY_FILLED','fyers','b1','t1',4,1,'',1795701057551580581,1795701057552593359,1,'{"symbol":"NSE:SBIN-EQ","quantity":10,"side":"BUY","order_type":"LIMIT","price":"652.55","trigger_price":null,"product":"INTRADAY","validity":"DAY","client_order_id":"sample-1"}','a7ec96cca6d2deffe0df056b4572884d',1);
INSERT INTO "trades" VALUES(2,'sample-2','NSE:SBIN-EQ','BUY',1,0,'DENIED','','','',0,1,'too large',1795701057553105287,1795701057553105287,0,'{"symbol":"NSE:SBIN-EQ","quantity":1,"side":"BUY","order_type":"MARKET","price":null,"trigger_price":null,"product":"INTRADAY","validity":"DAY","client_order_id":"sample-2"}','c09eab47d207847546be10270d2078bf',0);
INSERT INTO "trades" VALUES(3,'sample-3','NSE:INFY-EQ','BUY',5,150025000000,'NEW','','','',0,1,'',1795701057554243721,1795701057554243721,0,NULL,NULL,0);
CREATE INDEX trades_by_block_and_symbol ON trades (id >> 10, symbol);
CREATE INDEX journal_by_order ON journal (order_id) WHERE order_id IS NOT NULL;
CREATE INDEX trades_open ON trades (id) WHERE is_open = 1;
COMMIT;
