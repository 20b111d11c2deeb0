ALTER TABLE "orders" DROP CONSTRAINT "orders_hold_id_unique";--> statement-breakpoint
ALTER TABLE "order_items" DROP CONSTRAINT "order_items_order_id_orders_id_fk";
--> statement-breakpoint
ALTER TABLE "order_items" DROP CONSTRAINT "order_items_product_id_products_id_fk";
--> statement-breakpoint
DROP INDEX "orders_of_customer";--> statement-breakpoint
CREATE INDEX "orders_of_customer" ON "orders" USING btree ("customer_id","created_at" DESC NULLS LAST,"id" DESC NULLS LAST) WHERE "orders"."customer_id" is not null;--> statement-breakpoint
ALTER TABLE "orders" DROP COLUMN "hold_id";