BEGIN TRANSACTION;
CREATE TABLE blocks (
        block INTEGER PRIMARY KEY,
        first_ns INTEGER NOT NULL,
        last_ns INTEGER NOT NULL
    ) STRICT;
INSERT INTO "blocks" VALUES(0,1795390887519016878,1795390887535285922);
CREATE TABLE chain (                   -- both ends of the journal: a lost last row shows too
        one INTEGER PRIMARY KEY CHECK (one = 1),
        serial INTEGER NOT NULL,
        checksum BLOB NOT NULL,
        retired_serial INTEGER NOT NULL,
        retired_checksum BLOB NOT NULL
    ) STRICT;
INSERT INTO "chain" VALUES(1,8,X'D7DF144AEB7255A85DBC9395346ECA1C',0,X'');
CREATE TABLE fills (
        order_id TEXT NOT NULL,
        fill_id TEXT NOT NULL,
        broker_order_id TEXT NOT NULL,
        quantity INTEGER NOT NULL,
        price INTEGER NOT NULL,
        epoch_ns INTEGER NOT NULL,
        PRIMARY KEY (order_id, fill_id)
    ) STRICT, WITHOUT ROWID;
INSERT INTO "fills" VALUES('sample-1','f1','b1',4,65250000000,5);
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
INSERT INTO "journal" VALUES(1,1795390887519016878,1,'Claimed','sample-1','{"epoch_ns":1795390887519016878,"order":{"client_order_id":"sample-1","order_type":"LIMIT","price":"652.55","product":"INTRADAY","quantity":10,"side":"BUY","symbol":"NSE:SBIN-EQ","trigger_price":null,"validity":"DAY"},"simulated":true}',X'0B39C6AF20777FEE1E2F442DD2F7FCB0');
INSERT INTO "journal" VALUES(2,1795390887519016878,1,'Intent','sample-1','{"attempt":1,"epoch_ns":0,"fingerprint":"","order":{"client_order_id":"sample-1","order_type":"LIMIT","price":"652.55","product":"INTRADAY","quantity":10,"side":"BUY","symbol":"NSE:SBIN-EQ","trigger_price":null,"validity":"DAY"},"provider":"fyers","simulated":true,"tag":"t1"}',X'1CC8F2862F5E48B1E0F7F8E713DC0FAB');
INSERT INTO "journal" VALUES(3,1795390887528555775,1,'Step','sample-1','{"after":"ACCEPTED","attempt":0,"average_price":"0","before":"SUBMITTING","broker_order_id":"b1","epoch_ns":0,"filled_quantity":0,"message":"","order_id":"sample-1","provider":"","tag":""}',X'54C85C29250AA83CA88FE8FE3A50E2B7');
INSERT INTO "journal" VALUES(4,1795390887528555775,1,'FillSeen','sample-1','{"epoch_ns":0,"fill":{"broker_order_id":"b1","epoch_ns":5,"fill_id":"f1","price":"652.5","quantity":4},"order_id":"sample-1"}',X'F61C3B703217F4AA44D091CFA34D963F');
INSERT INTO "journal" VALUES(5,1795390887528555775,1,'Step','sample-1','{"after":"PARTIALLY_FILLED","attempt":0,"average_price":"0","before":"ACCEPTED","broker_order_id":"","epoch_ns":0,"filled_quantity":4,"message":"","order_id":"sample-1","provider":"","tag":""}',X'8A9DCA2E79EBF1DF09F71D984E387DD2');
INSERT INTO "journal" VALUES(6,1795390887528555775,1,'Halted',NULL,'{"epoch_ns":0,"reason":"sample"}',X'DF1296B9C6040FF17407E177F599AEDE');
INSERT INTO "journal" VALUES(7,1795390887534272680,1,'Claimed','sample-2','{"epoch_ns":1795390887534272680,"order":{"client_order_id":"sample-2","order_type":"MARKET","price":null,"product":"INTRADAY","quantity":1,"side":"BUY","symbol":"NSE:SBIN-EQ","trigger_price":null,"validity":"DAY"},"simulated":true}',X'199F65F4CC502908D8961A94F2DC9478');
INSERT INTO "journal" VALUES(8,1795390887534272680,1,'Step','sample-2','{"after":"DENIED","attempt":0,"average_price":"0","before":"NEW","broker_order_id":"","epoch_ns":0,"filled_quantity":0,"message":"too large","order_id":"sample-2","provider":"","tag":""}',X'D7DF144AEB7255A85DBC9395346ECA1C');
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
    ) STRICT;
INSERT INTO "trades" VALUES(1,'sample-1','NSE:SBIN-EQ','BUY',10,65250000000,'PARTIALLY_FILLED','fyers','b1','t1',4,1,'',1795390887519016878,1795390887528555775,1,'{"client_order_id":"sample-1","order_type":"LIMIT","price":"652.55","product":"INTRADAY","quantity":10,"side":"BUY","symbol":"NSE:SBIN-EQ","trigger_price":null,"validity":"DAY"}','a05dfe912a5752e5967ba17ebf87c149');
INSERT INTO "trades" VALUES(2,'sample-2','NSE:SBIN-EQ','BUY',1,0,'DENIED','','','',0,1,'too large',1795390887534272680,1795390887534272680,0,'{"client_order_id":"sample-2","order_type":"MARKET","price":null,"product":"INTRADAY","quantity":1,"side":"BUY","symbol":"NSE:SBIN-EQ","trigger_price":null,"validity":"DAY"}','bc40c7a4f137bc5185bb4c96fe6332e3');
INSERT INTO "trades" VALUES(3,'sample-3','NSE:INFY-EQ','BUY',5,150025000000,'NEW','','','',0,1,'',1795390887535285922,1795390887535285922,0,NULL,NULL);
CREATE INDEX trades_by_block_and_symbol ON trades (id >> 10, symbol);
CREATE INDEX trades_open ON trades (id) WHERE request IS NOT NULL
        AND status NOT IN ('DENIED', 'FILLED', 'CANCELLED', 'REJECTED', 'EXPIRED');
CREATE INDEX journal_by_order ON journal (order_id) WHERE order_id IS NOT NULL;
COMMIT;
